"""Signatures of images in cosign's form: keys, what is signed, and where a registry keeps it.

`keys` reads and makes key files (ECDSA on P-256), `signatures` writes and checks the signatures of one digest,
`verified` finds the digest that a name stands for and lets only a signed one through, `signer` signs what is pushed.
The libraries are an extra.

Public modules: `keys`, `signer`, `verified`.
"""
