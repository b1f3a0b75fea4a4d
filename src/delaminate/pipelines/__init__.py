"""What users do, as functions: open images, train, decompose, edit, evaluate, sample, export."""
