"""What every HTTP client of the operator needs beside aiohttp: retries, trust, names of Services."""
