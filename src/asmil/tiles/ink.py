"""Ink of pens: colours that no common stain has."""

import numpy as np

BLACK, GREY = 80, 25
"""Black ink (and borders): every channel below the first, and no further apart than the second."""


def coloured_ink(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Where blue, green or red pen is; arrays of one shape, 0-255, signed or float. Returns boolean.

    Haematoxylin, eosin, DAB and blood keep more red than green (Ruifrok and Johnston 2001), so more green than red is
    blue or green pen. Red pen takes green and blue away alike and leaves red nearly whole; eosin leaves more blue, and
    blood, its nearest kin, more of both.
    """
    cold = ((green - red > 30) & (np.maximum(green, blue) - red > 60)) | ((green - red > 6) & (blue - red > 75))
    warm = (red > 165) & (np.maximum(green, blue) < 95) & (blue - green < 45)
    return cold | warm


def black_ink(red: np.ndarray, green: np.ndarray, blue: np.ndarray) -> np.ndarray:
    """Where black pen, carbon or a black border is; as `coloured_ink`."""
    brightest = np.maximum(np.maximum(red, green), blue)
    return (brightest < BLACK) & (brightest - np.minimum(np.minimum(red, green), blue) < GREY)
