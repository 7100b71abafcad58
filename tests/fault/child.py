"""Work in a child process whose rights or limits the test takes away."""
import os

from liblora import LoraError


def in_child(work):
    """work() in a fork; what it answers as text."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        text = "crashed"
        try:
            text = str(work())
        except LoraError as error:
            text = f"{error.status} {error}"
        finally:
            os.write(ends[1], text.encode())
            os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0], "rb") as pipe:
        text = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return text


def give_up_root(path):
    """Root may write anywhere; anyone else may still reach `path`."""
    if os.getuid() != 0:
        return
    for folder in path.parents:
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o11)
    os.setuid(65534)
