import prometheus_client

assert b"python_info" in prometheus_client.generate_latest()
