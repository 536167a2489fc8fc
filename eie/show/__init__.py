"""How an answer is shown: sections of tables, curves and claims, laid out as text, terminal tables, HTML and JSON.

Comes in: sections. Goes out: text. Knows no answer; every room that has something to show describes it in sections.
"""
