"""The course: lessons that run, exercises that mark themselves, pages that sound.

    NN_name/lesson.py    prose and code in turn (percent format); imports the package, never copies it
    NN_name/exercise.py  functions left to write
    NN_name/solution.py  ... and written
    NN_name/check.py     what an exercise replaces in the package, and which tests must still pass
    tool/                what runs, prints, renders, checks and grades them

A lesson imports its helpers from here. `python -m lessons --help` lists the commands.
"""

from .tool.display import FAST, film, show_source, sound

__all__ = ["FAST", "film", "show_source", "sound"]
