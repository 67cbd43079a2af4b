-- A month of sign-ins of 60 customers, from the addresses and with the browsers of the table places.
-- The functions of the extension sign them in and out now, and the times are then moved into the
-- past.

INSERT INTO users (id, name) SELECT n, 'Customer ' || n FROM generate_series(101, 160) AS n;

SELECT setseed(0.42);

-- Later days have more sign-ins, and nights have few. A customer has two devices in one place.
CREATE TEMPORARY TABLE visits AS
SELECT v.began, v.user_id, p.ip, a.user_agent, least(v.began + v.duration, now()) AS ended
FROM (
    SELECT now() - interval '30 days' * (1 - sqrt(random())) AS began,
           101 + floor(60 * random() ^ 2)::bigint AS user_id,
           interval '1 day' * (-7 * ln(1 - random())) AS duration,
           floor(2 * random())::integer AS device
    FROM generate_series(1, 700)
) AS v
JOIN places AS p ON p.n = v.user_id % 12
JOIN places AS a ON a.n = (v.user_id * 5 + v.device * 7) % 12
WHERE extract(hour FROM v.began) BETWEEN 7 AND 22 OR random() < 0.2
ORDER BY v.began;

CREATE TEMPORARY TABLE sign_ins AS
SELECT v.began, v.ended, s.id, s.key
FROM visits AS v
CROSS JOIN LATERAL qsessions.login(NULL, v.user_id, ip => v.ip, user_agent => v.user_agent) AS s;

UPDATE qsessions.session AS s
SET created_at = v.began, authenticated_at = v.began, updated_at = v.began,
    last_seen_at = seen.at, expires_at = seen.at + interval '14 days'
FROM sign_ins AS v
CROSS JOIN LATERAL (SELECT v.began + (v.ended - v.began) * random() AS at) AS seen
WHERE s.id = v.id;

SELECT count(qsessions.logout(v.key)) FROM sign_ins AS v WHERE v.ended < now();

UPDATE qsessions.session_event AS e
SET at = CASE e.event WHEN 'login' THEN v.began ELSE v.ended END
FROM sign_ins AS v WHERE e.session_id = v.id;

UPDATE qsessions.session SET expires_at = now() + interval '1 day' WHERE expires_at < now() + interval '1 day';

-- Visitors who have not signed in have something in the cart.
SELECT count(s.id)
FROM generate_series(1, 23) AS v (n)
JOIN places AS p ON p.n = v.n % 12
CROSS JOIN LATERAL qsessions.create_session(ip => p.ip, user_agent => p.user_agent, data => '{"cart.tea": 1}') AS s;
