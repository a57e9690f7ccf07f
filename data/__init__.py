"""Mentions: schema, files in and out, source adapters, splits by brand, labels without text, a small sample."""
