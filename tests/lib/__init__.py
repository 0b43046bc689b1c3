"""What test programs share. Each folder of such programs has a link `lib` to this one, so that a program which is run by
its path finds it.

Whatever comes first from here puts all temporary files into one folder that goes with the process."""
from . import temporary  # noqa: F401
