-- Wireshark and tshark: what goes between the machines of a Steadycast fleet, drawn from docs/wire-format.md.
--
--   mkdir -p ~/.local/lib/wireshark/plugins && cp steadycast.lua ~/.local/lib/wireshark/plugins/
--   tshark -X lua_script:steadycast.lua -f 'udp port 6080'
--
-- Filters: steadycast.verb == 2 (FORWARD), steadycast.backend.pop == 3, steadycast.flow == 0x..., steadycast.expert.
-- A plain GUE packet to a backend shows as GUE with the client's packet in it. Tags are shown, not checked: that takes
-- the fleet key.

local GUE_PORT = 6080
local CTYPE = 128
local LOWEST_VERSION, HIGHEST_VERSION = 1, 2
local PRIVATE_BYTES, CONTROL_BYTES, HELLO_BYTES, RECORD_BYTES = 16, 40, 56, 16

local VERBS = {
	[1] = "ASK", [2] = "FORWARD", [3] = "RELAY",
	[4] = "HELLO", [5] = "PUBLISH", [6] = "OWNER", [7] = "REACH",
}
local STATES = { [0] = "ended", [1] = "half-open", [2] = "established", [3] = "closing" }
local PROTOS = { [4] = "IPv4", [41] = "IPv6" }

local steadycast = Proto("steadycast", "Steadycast")
local F, E = {}, {}

local function field(name, f)
	F[name] = f
	return f
end

field("variant", ProtoField.uint8("steadycast.gue.variant", "GUE variant", base.DEC, nil, 0xc0))
field("control", ProtoField.bool("steadycast.gue.control", "Control message", 8, nil, 0x20))
field("hlen", ProtoField.uint8("steadycast.gue.hlen", "Private data, words", base.DEC, nil, 0x1f))
field("proto", ProtoField.uint8("steadycast.gue.proto", "Inner packet", base.DEC, PROTOS))
field("ctype", ProtoField.uint8("steadycast.gue.ctype", "Control type", base.DEC))
field("flags", ProtoField.uint16("steadycast.gue.flags", "GUE flags", base.HEX))

field("version", ProtoField.uint8("steadycast.version", "Version", base.DEC, nil, 0xf0))
field("verb", ProtoField.uint8("steadycast.verb", "Verb", base.DEC, VERBS, 0x0f))
field("key_id", ProtoField.uint8("steadycast.key_id", "Key id", base.DEC))
field("origin", ProtoField.uint16("steadycast.origin", "Origin node", base.DEC))
field("backend", ProtoField.uint32("steadycast.backend", "Backend", base.HEX))
field("backend_pop", ProtoField.uint32("steadycast.backend.pop", "PoP", base.DEC, nil, 0xfff00000))
field("tag", ProtoField.bytes("steadycast.tag", "Tag"))

field("body_length", ProtoField.uint16("steadycast.body_length", "Body length", base.DEC))
field("sender_boot", ProtoField.uint64("steadycast.sender_boot", "Sender's boot id", base.HEX))
field("receiver_boot", ProtoField.uint64("steadycast.receiver_boot", "Receiver's boot id", base.HEX))
field("sequence", ProtoField.uint64("steadycast.sequence", "Sequence number", base.DEC))

field("lowest", ProtoField.uint8("steadycast.hello.lowest", "Lowest version", base.DEC))
field("highest", ProtoField.uint8("steadycast.hello.highest", "Highest version", base.DEC))
field("silent", ProtoField.bool("steadycast.hello.silent", "Announces nothing", 8, nil, 0x10))
field("withholds", ProtoField.bool("steadycast.hello.withholds", "Holds back half-open flows", 8, nil, 0x08))
field("walked", ProtoField.bool("steadycast.hello.walked", "Table walk done", 8, nil, 0x04))
field("draining", ProtoField.bool("steadycast.hello.draining", "Draining", 8, nil, 0x02))
field("filled", ProtoField.bool("steadycast.hello.filled", "Filled", 8, nil, 0x01))
field("fill", ProtoField.uint16("steadycast.hello.fill", "Table fill, permille", base.DEC))
field("seed_check", ProtoField.uint16("steadycast.hello.seed_check", "Of the hash_seed", base.HEX))
field("echo", ProtoField.uint64("steadycast.hello.echo", "Echo: last HELLO received", base.DEC))
field("echo_delay", ProtoField.uint32("steadycast.hello.echo_delay", "Echo delay, us", base.DEC))
field("fleet_digest", ProtoField.uint32("steadycast.hello.fleet_digest", "Of the fleet file", base.HEX))
field("sent", ProtoField.uint64("steadycast.hello.batches_sent", "Batches sent", base.DEC))
field("taken", ProtoField.uint64("steadycast.hello.batches_taken", "Batches taken in", base.DEC))
field("mask", ProtoField.uint64("steadycast.hello.mask", "Taken in beyond", base.HEX))
field("walk_end", ProtoField.uint64("steadycast.hello.walk_end", "Walk end", base.DEC))

field("batch", ProtoField.uint64("steadycast.publish.batch", "Batch", base.DEC))
field("count", ProtoField.uint16("steadycast.count", "Flows", base.DEC))
field("pops", ProtoField.uint16("steadycast.reach.count", "PoPs not heard", base.DEC))
field("pop", ProtoField.uint16("steadycast.reach.pop", "PoP not heard", base.DEC))
field("services", ProtoField.uint16("steadycast.reach.services", "Services not served", base.DEC, { [0xffff] = "all" }))
field("service", ProtoField.uint32("steadycast.reach.service", "Service not served", base.HEX))
field("flow", ProtoField.uint64("steadycast.flow", "Flow id", base.HEX))
field("state", ProtoField.uint16("steadycast.flow.state", "State", base.DEC, STATES, 0xe000))
field("age", ProtoField.uint16("steadycast.flow.age", "Age, units of 2 s", base.DEC, nil, 0x1fff))
field("idle", ProtoField.uint16("steadycast.flow.idle", "Idle, units of 2 s", base.DEC))

local list = {}
for _, f in pairs(F) do
	list[#list + 1] = f
end
steadycast.fields = list

E.refused = ProtoExpert.new("steadycast.expert", "A receiver refuses this", expert.group.MALFORMED,
	expert.severity.WARN)
steadycast.experts = { E.refused }

-- The reason is the name of the receiver's counter.
local function refuse(tree, pinfo, reason)
	tree:add_proto_expert_info(E.refused, "Refused: " .. reason)
	pinfo.cols.info:append(" [" .. reason .. "]")
end

local function inner(range, pinfo, root, proto)
	local dissector = Dissector.get(proto == 41 and "ipv6" or "ip")
	pinfo.cols.info:fence()
	dissector:call(range:tvb(), pinfo, root)
end

local function backend(tree, range)
	local item = tree:add(F.backend, range)
	if range:uint() ~= 0 then
		item:add(F.backend_pop, range)
	end
end

local function head(tree, tvb)
	tree:add(F.version, tvb(4, 1))
	tree:add(F.verb, tvb(4, 1))
	tree:add(F.key_id, tvb(5, 1))
	tree:add(F.origin, tvb(6, 2))
	local first = tvb(4, 1):uint()
	return math.floor(first / 16), first % 16, tvb(6, 2):uint()
end

local function spoken(version)
	return version >= LOWEST_VERSION and version <= HIGHEST_VERSION
end

local function private(tvb, pinfo, root, tree, proto)
	if tvb:len() < 4 + PRIVATE_BYTES then
		return refuse(tree, pinfo, "gue_bad_length")
	end
	local version, verb, origin = head(tree, tvb)
	backend(tree, tvb(8, 4))
	tree:add(F.tag, tvb(12, 8))
	local name = VERBS[verb] or "?"
	pinfo.cols.info = string.format("%s from node %d", name, origin)
	if verb ~= 1 and tvb(8, 4):uint() ~= 0 then
		pinfo.cols.info:append(string.format(" for backend 0x%08x", tvb(8, 4):uint()))
	end
	tree:append_text(", " .. name)
	if not spoken(version) then
		refuse(tree, pinfo, "unknown_version")
	elseif verb < 1 or verb > 3 then
		refuse(tree, pinfo, "unknown_verb")
	elseif verb == 3 and version < 2 then
		refuse(tree, pinfo, "relay_unsupported")
	end
	pinfo.cols.info:append(" | ")
	inner(tvb(4 + PRIVATE_BYTES), pinfo, root, proto)
end

local function records(tvb, offset, pinfo, tree)
	local count = tvb(offset, 2):uint()
	tree:add(F.count, tvb(offset, 2))
	local at = offset + 8
	if count < 1 or count > 64 or tvb:len() - at ~= count * RECORD_BYTES then
		refuse(tree, pinfo, "bad_message")
	end
	while at + RECORD_BYTES <= tvb:len() do
		local state = math.floor(tvb(at + 12, 2):uint() / 8192)
		local name = STATES[state] or "?"
		local sub = tree:add(steadycast, tvb(at, RECORD_BYTES), string.format("Flow 0x%s, %s", tvb(at, 8), name))
		sub:add(F.flow, tvb(at, 8))
		backend(sub, tvb(at + 8, 4))
		sub:add(F.state, tvb(at + 12, 2))
		sub:add(F.age, tvb(at + 12, 2))
		sub:add(F.idle, tvb(at + 14, 2))
		at = at + RECORD_BYTES
	end
	return count
end

local function reach(tvb, at, pinfo, tree)
	local count = tvb(at, 2):uint()
	tree:add(F.pops, tvb(at, 2))
	local services = tvb(at + 2, 2):uint()
	tree:add(F.services, tvb(at + 2, 2))
	at = at + 8
	if services == 0xffff then
		services = 0
	end
	if count > 64 or services > 224 or tvb:len() - at ~= count * 2 + services * 4 then
		refuse(tree, pinfo, "bad_message")
	end
	local pops_end = math.min(at + count * 2, tvb:len())
	while at + 2 <= pops_end do
		tree:add(F.pop, tvb(at, 2))
		at = at + 2
	end
	while at + 4 <= tvb:len() do
		tree:add(F.service, tvb(at, 4))
		at = at + 4
	end
	return count
end

local function hello(tvb, at, tree)
	tree:add(F.lowest, tvb(at, 1))
	tree:add(F.highest, tvb(at + 1, 1))
	for _, name in ipairs({ "silent", "withholds", "walked", "draining", "filled" }) do
		tree:add(F[name], tvb(at + 2, 1))
	end
	tree:add(F.fill, tvb(at + 4, 2))
	tree:add(F.seed_check, tvb(at + 6, 2))
	tree:add(F.echo, tvb(at + 8, 8))
	tree:add(F.echo_delay, tvb(at + 16, 4))
	tree:add(F.fleet_digest, tvb(at + 20, 4))
	tree:add(F.sent, tvb(at + 24, 8))
	tree:add(F.taken, tvb(at + 32, 8))
	tree:add(F.mask, tvb(at + 40, 8))
	tree:add(F.walk_end, tvb(at + 48, 8))
end

local function control(tvb, pinfo, tree)
	local length = tvb:len()
	if length < 4 + CONTROL_BYTES then
		return refuse(tree, pinfo, "bad_message")
	end
	local version, verb, origin = head(tree, tvb)
	tree:add(F.body_length, tvb(8, 2))
	tree:add(F.sender_boot, tvb(12, 8))
	tree:add(F.receiver_boot, tvb(20, 8))
	tree:add(F.sequence, tvb(28, 8))
	tree:add(F.tag, tvb(36, 8))
	local name = VERBS[verb] or "?"
	pinfo.cols.info = string.format("%s from node %d, sequence %s", name, origin, tvb(28, 8):uint64())
	tree:append_text(", " .. name)
	local body, at = length - 4 - CONTROL_BYTES, 4 + CONTROL_BYTES
	if not spoken(version) then
		return refuse(tree, pinfo, "unknown_version")
	elseif verb < 4 or verb > (version < 2 and 6 or 7) then
		return refuse(tree, pinfo, "unknown_verb")
	elseif tvb(8, 2):uint() ~= body then
		return refuse(tree, pinfo, "bad_message")
	end
	if verb == 4 and body == HELLO_BYTES then
		hello(tvb, at, tree)
	elseif verb == 5 and body >= 16 then
		tree:add(F.batch, tvb(at, 8))
		local batch = tvb(at, 8):uint64()
		local count = records(tvb, at + 8, pinfo, tree)
		pinfo.cols.info:append(string.format(", batch %s, %d flows", batch, count))
	elseif verb == 6 and body >= 8 then
		pinfo.cols.info:append(string.format(", %d flows", records(tvb, at, pinfo, tree)))
	elseif verb == 7 and body >= 8 then
		pinfo.cols.info:append(string.format(", %d PoPs not heard", reach(tvb, at, pinfo, tree)))
	else
		refuse(tree, pinfo, "bad_message")
	end
end

function steadycast.dissector(tvb, pinfo, root)
	pinfo.cols.protocol = "Steadycast"
	pinfo.cols.info = "GUE"
	local tree = root:add(steadycast, tvb())
	if tvb:len() < 4 then
		return refuse(tree, pinfo, "gue_bad_length")
	end
	local first, second = tvb(0, 1):uint(), tvb(1, 1):uint()
	local variant, hlen = math.floor(first / 64), first % 32
	local is_control = math.floor(first / 32) % 2 == 1
	tree:add(F.variant, tvb(0, 1))
	tree:add(F.control, tvb(0, 1))
	tree:add(F.hlen, tvb(0, 1))
	tree:add(is_control and F.ctype or F.proto, tvb(1, 1))
	tree:add(F.flags, tvb(2, 2))
	if variant ~= 0 then
		return refuse(tree, pinfo, "gue_bad_variant")
	elseif tvb(2, 2):uint() ~= 0 then
		return refuse(tree, pinfo, "gue_flags")
	elseif is_control then
		if second ~= CTYPE then
			return refuse(tree, pinfo, "gue_bad_ctype")
		end
		return control(tvb, pinfo, tree)
	elseif PROTOS[second] == nil then
		return refuse(tree, pinfo, "gue_bad_proto")
	elseif hlen == 0 then
		if tvb:len() > 4 then
			pinfo.cols.info:append(" to a backend | ")
			inner(tvb(4), pinfo, root, second)
		end
		return
	elseif hlen ~= PRIVATE_BYTES / 4 then
		return refuse(tree, pinfo, "gue_bad_length")
	end
	private(tvb, pinfo, root, tree, second)
end

DissectorTable.get("udp.port"):add(GUE_PORT, steadycast)
