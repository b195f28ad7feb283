"""Estimators of pyspark.ml."""
