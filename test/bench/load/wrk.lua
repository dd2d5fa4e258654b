-- For wrk: POSTs with a body when "POST <bytes>" follows the URL, and one line of figures for wrk.ts.

function init(args)
  if args[1] == 'POST' then
    wrk.method = 'POST'
    wrk.body = string.rep('x', tonumber(args[2]))
  end
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write(string.format('\nfigures %d %d %d\n', summary.requests, summary.duration, failed))
end
