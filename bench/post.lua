-- wrk: POSTs the raw image of the file that IMAGE names.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
local file = assert(io.open(os.getenv("IMAGE"), "rb"))
wrk.body = file:read("*a")
file:close()
