"""Images per second and time to the first answer of the service, under several senders at once.

    cargo build --release -p rareclip
    python3 benches/senders.py FOLDER --model dinov2-small --block 9 --size 224 --rounds 6

FOLDER holds images. Each sender has a stream of its own and posts its next image when it has the answer to the last.
Every setting of `batch` and `--max-batch` is a service of its own, one after the other.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

SETTINGS = [(False, 1), (True, 2), (True, 4), (True, 8)]
CONFIG = """name = "senders"
[backbone]
type = "vit"
model = "{model}"
image_size = {size}
batch = {batch}
[bank]
type = "prototype"
blocks = [{block}]
neighbourhoods = [1]
[scorer]
type = "rarity"
"""


def post(url, body, kind):
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.read()


def wait_until_ready(url, program):
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            if program.poll() is not None:
                break
            time.sleep(0.1)
    raise SystemExit("the service does not start")


def measure(url, images, senders, rounds):
    """Times in seconds: of the whole, of every answer, and to the first answer of all."""
    for sender in range(senders):
        stream = json.dumps({"name": f"s{sender}", "detector": "senders"}).encode()
        post(f"{url}/v1/streams", stream, "application/json")
        post(f"{url}/v1/streams/s{sender}/images", images[0], "image/jpeg")
    start, answers, lock = threading.Barrier(senders + 1), [], threading.Lock()

    def send(sender):
        start.wait()
        for at in range(rounds):
            began = time.monotonic()
            post(f"{url}/v1/streams/s{sender}/images", images[(sender + at) % len(images)], "image/jpeg")
            ended = time.monotonic()
            with lock:
                answers.append((ended, ended - began))

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(senders)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    return time.monotonic() - began, [took for _, took in answers], min(ended for ended, _ in answers) - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", default="target/release/rareclip")
    parser.add_argument("--model", default="dinov2-small")
    parser.add_argument("--block", type=int, default=9)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6, help="images of each sender")
    parser.add_argument("--port", type=int, default=18080)
    args = parser.parse_args()
    images = [file.read_bytes() for file in sorted(args.folder.iterdir()) if file.is_file()][:16]
    url = f"http://127.0.0.1:{args.port}"
    print("| batch | --max-batch | images/s | first answer, ms | median answer, ms |")
    print("| --- | --- | --- | --- | --- |")
    for batch, most in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder, "senders.toml")
            config.write_text(CONFIG.format(model=args.model, size=args.size, batch=str(batch).lower(), block=args.block))
            command = [args.program, "serve", "--config", config, "--data", f"{folder}/data"]
            command += ["--listen", f"127.0.0.1:{args.port}", "--max-batch", str(most)]
            program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_until_ready(url, program)
                whole, answers, first = measure(url, images, args.senders, args.rounds)
            finally:
                program.terminate()
                program.wait()
        rate, median = args.senders * args.rounds / whole, 1000 * statistics.median(answers)
        print(f"| {batch} | {most} | {rate:.1f} | {1000 * first:.0f} | {median:.0f} |")


if __name__ == "__main__":
    main()
