"""The scripts by which Redis keeps who is present and who types: each one is one step, whoever runs it.

Keys, of an ACCOUNT and a PLACE (what people see each other in, such as a server):

- ``presence:of:ACCOUNT``: a hash with a field ``d:DEVICE`` for each device (``ORDER|EXPIRES|STATE``), ``shown`` (the
  state that others were told), ``kept`` (what held when it was heard last), ``since`` and ``changes`` (the window of
  the rate limit), ``renewed`` and ``seated`` (when it was written into its places, and a digest of these).
- ``presence:now:ACCOUNT``: what others see while it is not OFFLINE, as ``STATE|UNTIL``.
- ``presence:at:ACCOUNT``: the places of the account, as they were when it was heard last.
- ``presence:in:PLACE``: the accounts that are present there.
- ``presence:log:PLACE``: the accounts that changed there last, by the number of their change.
- ``presence:due``: accounts by the time at which what holds for them may end.
- ``typing:CHANNEL``: who types there, until when; ``typing:by:ACCOUNT``: the window of the rate limit.

Numbers of changes grow, and are microseconds where that is more. Nothing is lost for good with any key: heartbeats
write all of them anew. Keys are made up in the scripts, so a Redis Cluster cannot run them.

ARGV of all: the time in ms (-1: that of Redis), ms that a choice is remembered, accounts in the log of a place; then
each one's own.
"""

LOG_LIFE_MS = 10 * 60 * 1000
"""How long after the last change of a place its log is kept: readers come within seconds, or read all anew."""
PLACE_LIFE_MS = 24 * 60 * 60 * 1000
"""The same of the index of a place, which those who are there renew."""
RENEW_MS = 5 * 60 * 1000
"""How often an account of which nothing changes writes itself into its places anew: Redis may have forgotten one."""
NOW_SLACK_MS = 60 * 1000
"""How much longer than it holds Redis keeps what others see: whoever reads it settles what has ended."""

_COMMON = f"""
local now, kept_ms, log_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function ms(number) return string.format('%.0f', number) end

local function tell(place, account)
  local log = 'presence:log:' .. place
  local last = tonumber(redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')[2] or 0)
  local number = ms(math.max(last + 1, now * 1000))
  redis.call('ZADD', log, number, account)
  redis.call('ZREMRANGEBYRANK', log, 0, -log_max - 1)
  redis.call('PEXPIRE', log, {LOG_LIFE_MS})
  redis.call('PUBLISH', 'presence:' .. place, number)
end

local function last_chosen(devices)
  local best
  for _, device in pairs(devices) do
    if not best or device.order > best.order then best = device end
  end
  return best
end

local function read(account)
  local found = {{devices = {{}}, gone = {{}}, shown = 'OFFLINE', since = 0, changes = 0, renewed = 0}}
  local raw = redis.call('HGETALL', 'presence:of:' .. account)
  for i = 1, #raw, 2 do
    local field, value = raw[i], raw[i + 1]
    if string.sub(field, 1, 2) == 'd:' then
      local order, expires, state = string.match(value, '^(%d+)|(%d+)|([%u_]+)$')
      if tonumber(expires) > now then
        found.devices[field] = {{order = tonumber(order), expires = tonumber(expires), state = state}}
      else
        table.insert(found.gone, field)
      end
    elseif field == 'since' or field == 'changes' or field == 'renewed' then
      found[field] = tonumber(value)
    else
      found[field] = value
    end
  end
  return found
end

-- Whether the account hides, or did when it was heard last: who is silent has not shown himself.
local function hides(account)
  local found = read(account)
  local holds = last_chosen(found.devices)
  return (holds and holds.state or found.kept) == 'INVISIBLE'
end

local function renew(account, seat, public, changed)
  for _, place in ipairs(redis.call('SMEMBERS', seat)) do
    local index = 'presence:in:' .. place
    if public == 'OFFLINE' then
      -- Only where it was shown: of one who comes into a place invisible nothing is to be heard there.
      if redis.call('SREM', index, account) == 1 then tell(place, account) end
    else
      local came = redis.call('SADD', index, account) == 1
      redis.call('PEXPIRE', index, {PLACE_LIFE_MS})
      if came or changed then tell(place, account) end
    end
  end
end

local function write(account, found, places)
  local key, seat = 'presence:of:' .. account, 'presence:at:' .. account
  local holds, public = last_chosen(found.devices), 'OFFLINE'
  if holds then
    if holds.state ~= 'INVISIBLE' then public = holds.state end
    redis.call('ZADD', 'presence:due', ms(holds.expires), account)
  else
    redis.call('ZREM', 'presence:due', account)
  end
  for _, field in ipairs(found.gone) do redis.call('HDEL', key, field) end
  for field, device in pairs(found.devices) do
    redis.call('HSET', key, field, ms(device.order) .. '|' .. ms(device.expires) .. '|' .. device.state)
  end
  redis.call('HSET', key, 'shown', public, 'since', ms(found.since), 'changes', found.changes)
  if found.kept then redis.call('HSET', key, 'kept', found.kept) end
  redis.call('PEXPIRE', key, kept_ms)
  if public ~= found.shown then redis.call('PUBLISH', 'presence:' .. account, ms(now)) end
  if public == 'OFFLINE' then
    redis.call('DEL', 'presence:now:' .. account)
  else
    local text = public .. '|' .. ms(holds.expires)
    redis.call('SET', 'presence:now:' .. account, text, 'PX', ms(holds.expires - now + {NOW_SLACK_MS}))
  end
  local renews = public ~= found.shown or now - found.renewed >= {RENEW_MS} or now < found.renewed
  local seated = places and redis.sha1hex(table.concat(places, ' '))
  if places and (renews or seated ~= found.seated) then
    renews = true
    redis.call('HSET', key, 'seated', seated)
    local wanted = {{}}
    for _, place in ipairs(places) do wanted[place] = true end
    for _, place in ipairs(redis.call('SMEMBERS', seat)) do
      if not wanted[place] then
        redis.call('SREM', seat, place)
        if redis.call('SREM', 'presence:in:' .. place, account) == 1 then tell(place, account) end
      end
    end
    for _, place in ipairs(places) do redis.call('SADD', seat, place) end
  end
  if renews then
    redis.call('PEXPIRE', seat, kept_ms)
    redis.call('HSET', key, 'renewed', ms(now))
    renew(account, seat, public, public ~= found.shown)
  end
  return holds and holds.state or ''
end
"""

TOUCH = (
    _COMMON
    + """
local expiry_ms, devices_max, changes_max, window_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]),
  tonumber(ARGV[7])
local account, verb, name, chosen, known = ARGV[8], ARGV[9], 'd:' .. ARGV[10], ARGV[11], ARGV[12] == '1'
local places
if known then
  places = {}
  for i = 13, #ARGV do table.insert(places, ARGV[i]) end
end
local found = read(account)
local holds, device = last_chosen(found.devices), found.devices[name]
if verb == 'leave' then
  found.devices[name] = nil
  table.insert(found.gone, name)
else
  local state = chosen
  if verb == 'beat' and not device then
    local before = holds and holds.state or found.kept
    if before then state = before == 'IDLE' and 'ONLINE' or before end
  end
  if verb == 'set' or not device then
    if not device or device.state ~= state or device ~= holds then
      if now - found.since >= window_ms or now < found.since then found.since, found.changes = now, 0 end
      -- Nobody has to wait to hide; what he may do too often is to show himself.
      if verb ~= 'set' or state ~= 'INVISIBLE' then
        if found.changes >= changes_max then return {found.since + window_ms - now, ''} end
        found.changes = found.changes + 1
      end
    end
    device = {order = (holds and holds.order or 0) + 1, state = state}
    found.devices[name] = device
  end
  device.expires = now + expiry_ms
  local others, oldest, count = found.devices, nil, 0
  for field, other in pairs(others) do
    count = count + 1
    if field ~= name and (not oldest or other.expires < others[oldest].expires) then oldest = field end
  end
  if count > devices_max and oldest then
    others[oldest] = nil
    table.insert(found.gone, oldest)
  end
end
local now_holds = last_chosen(found.devices)
if now_holds then found.kept = now_holds.state == 'IDLE' and 'ONLINE' or now_holds.state end
return {0, write(account, found, places)}
"""
)
"""Hears of a device. Gives the milliseconds to wait, if it may not change anything now, and what holds afterwards.

Own ARGV: ms that a device lives, devices of an account, changes in a window, ms of that; account, verb (``set``,
``beat`` or ``leave``), device, the state that is set, or that holds where nothing is known of the account, whether its
places are known, and these.
"""

SWEEP = (
    _COMMON
    + """
local due = redis.call('ZRANGEBYSCORE', 'presence:due', '-inf', ms(now), 'LIMIT', 0, ARGV[4])
for _, account in ipairs(due) do write(account, read(account)) end
return #due
"""
)
"""Tells what ended by itself. Own ARGV: how many accounts at most. Gives how many there were."""

OWN = (
    _COMMON
    + """
local holds = last_chosen(read(ARGV[4]).devices)
return holds and holds.state or ''
"""
)
"""What holds for an account, invisible or not; empty for one without devices."""

SHOWN = (
    _COMMON
    + """
local states = {}
for i = 4, #ARGV do
  local account = ARGV[i]
  local key = 'presence:now:' .. account
  local text = redis.call('GET', key)
  -- Of one of whom nothing is to be seen, what hid him may have ended.
  local ends = text and string.match(text, '|(%d+)$') or redis.call('ZSCORE', 'presence:due', account)
  if ends and tonumber(ends) <= now then
    write(account, read(account))
    text = redis.call('GET', key)
  end
  table.insert(states, text and string.match(text, '^([%u_]+)|') or '')
end
return states
"""
)
"""What others see of the accounts, in their order; empty for those who are offline."""

CHANGES = (
    _COMMON
    + """
local log, after = 'presence:log:' .. ARGV[4], ARGV[5]
local first = redis.call('ZRANGE', log, 0, 0, 'WITHSCORES')
local last = redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')
if not last[2] then return {after, 0} end
local number = ms(tonumber(last[2]))
if redis.call('ZCARD', log) >= log_max and tonumber(first[2]) > tonumber(after) then return {number, 1} end
return {number, 0, unpack(redis.call('ZRANGEBYSCORE', log, '(' .. after, '+inf'))}
"""
)
"""The number of the last change in a place, whether all must be read, and who changed. Own ARGV: place, after which."""

TYPE = (
    _COMMON
    + """
local account, channel = ARGV[4], 'typing:' .. ARGV[5]
local expiry_ms, people_max, starts_max, window_ms = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]),
  tonumber(ARGV[9])
local by = 'typing:by:' .. account
local since, starts = unpack(redis.call('HMGET', by, 'since', 'starts'))
since, starts = tonumber(since or 0), tonumber(starts or 0)
if now - since >= window_ms or now < since then since, starts = now, 0 end
if starts >= starts_max then return since + window_ms - now end
redis.call('HSET', by, 'since', ms(since), 'starts', starts + 1)
redis.call('PEXPIRE', by, window_ms)
if hides(account) then return 0 end
redis.call('ZREMRANGEBYSCORE', channel, '-inf', ms(now))
local there = redis.call('ZSCORE', channel, account)
if not there and redis.call('ZCARD', channel) >= people_max then return 0 end
redis.call('ZADD', channel, ms(now + expiry_ms), account)
redis.call('PEXPIRE', channel, expiry_ms)
if not there then redis.call('PUBLISH', channel, ms(now)) end
return 0
"""
)
"""Somebody types. Gives the milliseconds to wait if that was said too often. Who is invisible is not told of.

Own ARGV: account, channel, ms that it holds, people in a channel, times in a window, ms of that.
"""

STOP_TYPING = (
    _COMMON
    + """
if hides(ARGV[4]) then return end
if redis.call('ZREM', 'typing:' .. ARGV[5], ARGV[4]) == 1 then redis.call('PUBLISH', 'typing:' .. ARGV[5], ms(now)) end
"""
)
"""Somebody types no more. Of who hides that ends by itself, as of one who is gone. Own ARGV: account, channel."""

TYPISTS = (
    _COMMON
    + """
local found = redis.call('ZRANGEBYSCORE', 'typing:' .. ARGV[4], '(' .. ms(now), '+inf', 'WITHSCORES')
for i = 2, #found, 2 do found[i] = tonumber(found[i]) - now end
return found
"""
)
"""Who types in a channel, each followed by the milliseconds that this holds, the one who stops first first."""
