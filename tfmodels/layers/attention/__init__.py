"""Block-sparse and dense attention: the arithmetic, the engine, and the layers."""
