import numpy
from fastapi import FastAPI

app = FastAPI(title="edge dashboard")


@app.get("/mean")
def mean(values: str) -> float:
    return float(numpy.mean([float(value) for value in values.split(",")]))
