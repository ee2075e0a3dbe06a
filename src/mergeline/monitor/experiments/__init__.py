"""Whether a challenger and the champion differ, by what they answered and what turned out."""
