"""How long something took, in words."""

__all__ = ["in_words"]


def in_words(seconds: float) -> str:
    """Such as "0.4 s", "12 s", "1 min 51 s" and "2 h 5 min".

    Arguments:
        seconds: Of any number.
    """
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"
