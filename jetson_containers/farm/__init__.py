"""The stages of plans on many machines, by Dask's `distributed`: it schedules, retries, and notices who died.

`access` reads addresses and TLS; `serve` starts a scheduler or a worker; `labels` says what a worker offers and what a
stage needs. `client` makes a task of each stage that neither the local store nor the registry has, under the stage's
key, which `handover` gives to Dask when a worker is free for it; `stage_task` carries it with the files it reads;
`machine` builds it on a worker's engine, from parents that it pulls by digest, and pushes the result to the registry.
Dask is imported only when the farm is used.

Public modules: `access`, `client`, `labels`, `machine`, `serve`.
"""
