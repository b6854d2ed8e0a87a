"""Runs lessons, writes their pages and notebooks, and checks and grades exercises.

percent   reads a lesson's file as cells; writes a Jupyter notebook
display   source, figures, sounds and films that a lesson shows
run       runs a lesson's cells in one namespace
terminal  prose, code and equations for a terminal
page      the HTML pages
check     runs the package's tests on a student's function
grade     grades a folder of submissions; makes the students' copy of the repository
"""
