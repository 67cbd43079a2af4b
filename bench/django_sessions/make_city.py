"""Writes a small city database in MaxMind's format, which both PostgreSQL and Django can read.

    make_city.py FILE
"""

import sys

from mmdb_writer import MMDBWriter
from netaddr import IPSet
from worker import IPS

writer = MMDBWriter(4, "GeoIP2-City", languages=["en"], description="of this benchmark only")
for number, ip in enumerate(IPS):
    writer.insert_network(IPSet([f"{ip}/24"]), {
        "city": {"geoname_id": number + 1, "names": {"en": f"Town {number}"}},
        "continent": {"code": "EU", "geoname_id": 1, "names": {"en": "Europe"}},
        "country": {"geoname_id": 1, "iso_code": "GB", "names": {"en": "United Kingdom"}},
        "location": {"latitude": 52.2, "longitude": 0.1, "time_zone": "Europe/London", "accuracy_radius": 10},
        "postal": {"code": "CB1"},
        "subdivisions": [{"geoname_id": 1, "iso_code": "ENG", "names": {"en": "England"}}]})
writer.to_db_file(sys.argv[1])
