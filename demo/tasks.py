"""The jobs of the demo."""
