-- A real MCP server of both eras that is never the bottleneck: discovers, initializes (without a session), lists and calls.
-- Every answer carries the request's id; `echo` repeats its text, so that each answer can be checked.
-- The first part of the path chooses a variant: /many lists 1,000 tools, /big adds 100 kB to results, /stream answers a
-- call as SSE with a progress notification first, /after10 and /after10-b answer calls after 10 ms. Other parts, such
-- as /a, are replicas.
local M = {}
local SCHEMA = '{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}'
local ECHO = '{"name":"echo","description":"Repeats its text.","inputSchema":' .. SCHEMA .. '}'
local CACHE = '"resultType":"complete","ttlMs":60000,"cacheScope":"public",'
local FILL = string.rep("0123456789abcdef", 6250)

local function thousand_tools()
  local tools = { ECHO }
  for number = 1, 999 do
    tools[#tools + 1] = '{"name":"tool_' .. number .. '","description":"Does thing number ' .. number ..
      ', with a description as long as they usually are in the wild.","inputSchema":' .. SCHEMA .. '}'
  end
  return table.concat(tools, ",")
end
local MANY = thousand_tools()

local function call(body, variant)
  local text = body:match('"text"%s*:%s*("[^"]*")') or '""'
  local more = variant == "big" and ',{"type":"text","text":"' .. FILL .. '"}' or ""
  return '{"resultType":"complete","content":[{"type":"text","text":' .. text .. '}' .. more ..
    '],"isError":false,"structuredContent":{"ok":true,"n":17}}'
end

local results = {
  ["tools/call"] = call,
  ["tools/list"] = function(_, variant) return '{' .. CACHE .. '"tools":[' .. (variant == "many" and MANY or ECHO) .. ']}' end,
  ["server/discover"] = function()
    return '{' .. CACHE .. '"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},' ..
      '"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench","version":"1"}}}'
  end,
  ["initialize"] = function()
    return '{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}'
  end,
  ["ping"] = function() return '{}' end,
}

local function progress(body)
  local token = body:match('"progressToken"%s*:%s*("[^"]*")') or body:match('"progressToken"%s*:%s*(%-?%d+)')
  if not token then return "" end
  return 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":' .. token ..
    ',"progress":1,"total":2}}\n\n'
end

function M.answer()
  ngx.req.read_body()
  local body = ngx.req.get_body_data() or ""
  local id = body:match('"id"%s*:%s*(%-?%d+)') or body:match('"id"%s*:%s*("[^"]*")')
  local method = body:match('"method"%s*:%s*"([^"]*)"') or ""
  local variant = ngx.var.uri:match("^/([^/]+)/")
  if ngx.req.get_method() ~= "POST" then ngx.status = 405; return ngx.exit(405) end
  if not id then ngx.status = 202; return ngx.exit(202) end
  local result = results[method]
  if not result then
    ngx.status = 404
    return ngx.print('{"jsonrpc":"2.0","id":' .. id .. ',"error":{"code":-32601,"message":"Method not found"}}')
  end
  local wait = method == "tools/call" and variant and variant:match("^after(%d+)")
  if wait then ngx.sleep(wait / 1000) end
  local message = '{"jsonrpc":"2.0","id":' .. id .. ',"result":' .. result(body, variant) .. '}'
  if variant == "stream" and method == "tools/call" then
    ngx.header.content_type = "text/event-stream"
    message = progress(body) .. 'event: message\ndata: ' .. message .. '\n\n'
  end
  ngx.header.content_length = #message
  ngx.print(message)
end

return M
