-- Addresses of clients. The functions are in extension/src/addresses.rs.

COMMENT ON FUNCTION qsessions.address(text) IS
    'Reads the address of a client as servers and proxies write it, with or without a port, brackets or a zone. Returns null for a text that is no address: an empty text, unknown, a path, a host name, a list';
COMMENT ON FUNCTION qsessions._host(inet) IS
    'Internal: an address in the form that sessions keep: IPv4 where it is an IPv4-mapped address of IPv6, and without a mask';
COMMENT ON FUNCTION qsessions._network(inet) IS
    'Internal: a network in the form by which sessions are searched: IPv4 where all its addresses are IPv4-mapped';
