#!/usr/bin/env python3
"""The original producer's transform in a few lines of Python: what each recorded user must become.

usage: transform.py FOLDER   prints one JSON message a line for every *.json response in FOLDER,
in name order; a user that the transform can't take is left out. Standard library only.
"""
import hashlib
import json
import pathlib
import sys


def message(user):
    location = user["location"]
    street = location["street"]
    if isinstance(street, dict):
        street = f"{street['number']}, {street['name']}"
    name = user["name"]
    return {
        "name": f"{name['title']}. {name['first']} {name['last']}",
        "gender": user["gender"],
        "address": street,
        "city": location["city"],
        "nation": location["country"],
        "zip": int(hashlib.md5(str(location["postcode"]).encode()).hexdigest(), 16),
        "latitude": float(location["coordinates"]["latitude"]),
        "longitude": float(location["coordinates"]["longitude"]),
        "email": user["email"],
    }


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    response = json.loads(path.read_text("utf-8"))
    for user in response.get("results", [response]):
        try:
            print(json.dumps(message(user), ensure_ascii=False, separators=(",", ":")))
        except KeyError:
            pass
