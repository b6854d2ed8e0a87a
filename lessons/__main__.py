"""python -m lessons: runs lessons, writes their pages and notebooks, checks and grades exercises."""

from __future__ import annotations

import sys
from pathlib import Path

from ddim_from_scratch.runtime.cli import Parser, run_command
from ddim_from_scratch.runtime.errors import UserError
from ddim_from_scratch.runtime.files import replacing

from .tool import check, grade, page, percent
from .tool.form import form_report
from .tool.run import LessonError, run

BUILD = percent.ROOT / "build/lessons"


def main(argv: list[str] | None = None) -> None:
    parser = Parser(prog="python -m lessons", description="The course's lessons and exercises.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("run", help="run a lesson, or all, and write build/lessons/NN.html")
    command.add_argument("number", nargs="?", help="number of the lesson (default: all)")
    command.add_argument("--out", type=Path, default=BUILD, metavar="FOLDER", help="output folder")

    command = commands.add_parser("notebook", help="write build/lessons/NN.ipynb")
    command.add_argument("number")
    command.add_argument("--out", type=Path, default=BUILD, metavar="FOLDER", help="output folder")

    command = commands.add_parser("check", help="run the package's tests on your functions")
    command.add_argument("number")
    command.add_argument("--file", type=Path, help="file with your functions (default: the lesson's exercise.py)")

    command = commands.add_parser("student-copy", help="copy the repository without the solutions")
    command.add_argument("folder", type=Path)

    command = commands.add_parser("grade", help="grade a folder of submissions, one folder per student")
    command.add_argument("folder", type=Path, help="contains NAME/.../01_sound/exercise.py and so on")
    command.add_argument("--scores", type=Path, default=Path("scores.json"), help="the JSON file to write")
    command.add_argument("--time-limit", type=float, default=check.TIME_LIMIT, help="seconds for one exercise")

    args = parser.parse_args(argv)
    if args.command == "run":
        failed = run_lessons(percent.find(args.number), args.out)
        if failed:
            sys.exit(f"failed: lesson {', '.join(failed)}")
    elif args.command == "notebook":
        (folder,) = percent.find(args.number)
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / f"{folder.name[:2]}.ipynb"
        with replacing(path) as file:
            file.write(percent.notebook(percent.load(folder)).encode())
        print(f"notebook: {path}")
    elif args.command == "check":
        (folder,) = percent.find(args.number)
        path = args.file or folder / "exercise.py"
        verdicts = check.check(folder, path)
        print(f"{check.report(verdicts)}\n{form_report(path)}")
        check.remember(verdicts)
        sys.exit(any(verdict.state != "passed" for verdict in verdicts.values()))
    elif args.command == "student-copy":
        grade.student_copy(args.folder)
        print(f"a copy without solutions: {args.folder}")
    else:
        result = grade.grade(args.folder, args.scores, args.time_limit)
        print(grade.table(result, grade.aligned))
        print(f"{len(result)} submissions: {args.scores}, and beside it the points (.csv) and the experiments (.md)")


def run_lessons(folders: list[Path], out: Path) -> list[str]:
    """Run the lessons in `folders` and write their pages into `out`. Returns the names of those that failed.

    A failure is printed, and the other lessons run all the same.
    """
    lessons, failed = [percent.load(folder) for folder in percent.find()], []
    for folder in folders:
        lesson = percent.load(folder)
        try:
            page.proofread(lesson)
            print(f"page: {page.write_lesson(out, run(lesson), lessons)}\n")
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            failed.append(folder.name)
        except LessonError:
            failed.append(folder.name)
    return failed


if __name__ == "__main__":
    run_command(main)
