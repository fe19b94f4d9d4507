"""From a model's name to an answer: prepare, chat, serve, bench, list, remove."""
