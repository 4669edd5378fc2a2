"""LossML discovers loss functions."""
