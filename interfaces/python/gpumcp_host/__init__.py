"""gpumcp's Python side: reads interface files (manifest.py) and runs them in a worker's child (child.py).

Standard library only, Python 3.9 or newer. Nothing here is imported by users; what interface files may import is the
module `gpumcp` that authoring.py makes.
"""
