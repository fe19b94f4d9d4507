"""Named steps with keyed outputs: `steps` plans and runs them, `manifest` records what they made.

`types` are the kinds of steps (a command in a container, a link, a download) and what is planned of them.
"""
