"""Runs one check and says which client made it. Usage: run.py PACKAGE FAKE SCRIPT BASE KEY"""
import importlib.metadata
import os
import runpy
import sys

package, fake, script, *sys.argv[1:] = sys.argv[1:]
sys.path.insert(0, os.path.dirname(script))
runpy.run_path(script, run_name="__main__")
print(f"sdk: {package} {importlib.metadata.version(package)} understands {fake}")
