"""Formatting, done beside the agent: no GPU is held for it."""


def format_result(data: dict) -> str:
    """Format a result as markdown."""
    return "\n".join(["## Result", ""] + [f"- **{key}**: {value}" for key, value in data.items()])


def first_of(items: list, count: int = 5) -> str:
    """The first items of a list, and how many there are."""
    return f"{items[:count]} ({len(items)} in all)" if len(items) > count else str(items)
