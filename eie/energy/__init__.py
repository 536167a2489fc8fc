"""From counts to joules and square millimetres: `tables` (numbers with sources), `estimate`, `area`.

Only this room knows joules. Two methods, always named: ``published-power`` (time x power, as the paper does) and
``activity`` (a price for every action).
"""
