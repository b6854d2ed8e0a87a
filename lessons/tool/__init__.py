"""What turns a lesson into a walk in the terminal, a page that sounds, a notebook and marks.

percent   a lesson's file as cells; as a Jupyter notebook
display   what a lesson shows beside its text: source, figures, sounds, films
run       a lesson from top to bottom, in one namespace
terminal  prose and equations for a terminal
page      the HTML pages
check     a student's function in place of the package's, under the package's tests
grade     a folder of submissions; the students' copy of the repository
"""
