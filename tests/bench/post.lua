-- Script for wrk: sends the requests in the files named after `--`, byte for byte, in turn; prints one line of JSON.
local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read("*a")
  file:close()
  return bytes
end

function init(paths)
  local requests, next_one = {}, 0
  for index, path in ipairs(paths) do requests[index] = read(path) end
  wrk.format = function() return requests[1] end
  if #requests > 1 then -- a global `request` is called for each one, which costs wrk a little
    request = function()
      next_one = next_one % #requests + 1
      return requests[next_one]
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"count":%d,"seconds":%.6f,"bytes":%d,"p50":%.0f,"p99":%.0f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
