-- Tells wrk which requests to send: the next cookie of a file with each of them.

local requests, at = {}, 0

function init(arguments)
   for cookie in io.lines(arguments[1]) do
      wrk.headers["Cookie"] = "id=" .. cookie
      wrk.headers["User-Agent"] = arguments[2]
      wrk.headers["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
      wrk.headers["Accept-Encoding"] = "gzip, deflate, br"
      wrk.headers["Accept-Language"] = "en-GB,en;q=0.9"
      requests[#requests + 1] = wrk.format("GET", "/")
   end
end

function request()
   at = at % #requests + 1
   return requests[at]
end
