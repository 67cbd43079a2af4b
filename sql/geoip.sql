-- Locations of addresses. The functions are in extension/src/geoip.rs.

COMMENT ON FUNCTION qsessions.location(inet, text) IS
    'Returns where an address is: City, Country, or else Country, or else null. The language is that of the locale, by default of qsessions.locale';
COMMENT ON FUNCTION qsessions.location_info(inet, text) IS
    'Returns what the GeoIP databases know of an address, with the keys of GeoIP2.city() or GeoIP2.country() of Django';
COMMENT ON FUNCTION qsessions.country_code(inet) IS
    'Returns the ISO 3166-1 alpha-2 code of the country of an address';
COMMENT ON FUNCTION qsessions.asn(inet) IS
    'Returns number and organization of the autonomous system of an address, or null if no database has it';
COMMENT ON FUNCTION qsessions.geoip_databases() IS
    'Lists the GeoIP databases at qsessions.geoip_path that this connection uses, and the files there that it cannot use, with the reason';
COMMENT ON FUNCTION qsessions.geoip_reload() IS
    'Reads changed GeoIP files now rather than within qsessions.geoip_check_interval, and returns what geoip_databases returns then';
