"""Storage formats of compressed weights, each with its decoder: `bits`, `nm`, `huffman`, `relative`."""
