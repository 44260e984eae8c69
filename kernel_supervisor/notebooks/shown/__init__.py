"""What a document shows of outputs: tables, figures, printed text, and placeholders. For the converting process."""
