-- The health of a Tenant, from the same facts as kstatus: a status of another generation says nothing, Reconciling is
-- progress, Stalled waits for a change by a person, and only then does Ready count.
local status = obj.status or {}
local by_type = {}
for _, condition in ipairs(status.conditions or {}) do
  by_type[condition.type] = condition
end

local function holds(name)
  return by_type[name] ~= nil and by_type[name].status == "True"
end

local function text(name)
  local condition = by_type[name]
  if condition == nil then
    return ""
  end
  return (condition.reason or "") .. ": " .. (condition.message or "")
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = by_type.Ready ~= nil and text("Ready") or "being deleted" }
end
if obj.metadata.annotations ~= nil and obj.metadata.annotations["tenantry.dev/paused"] == "true" then
  return { status = "Suspended", message = "paused by the annotation tenantry.dev/paused" }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the controller to see the change" }
end
if holds("Stalled") then
  return { status = "Degraded", message = text("Stalled") }
end
if holds("Reconciling") then
  return { status = "Progressing", message = text("Reconciling") }
end
if not holds("Ready") then
  return { status = "Progressing", message = by_type.Ready ~= nil and text("Ready") or "waiting for the controller" }
end
if holds("Suspended") then
  return { status = "Suspended", message = text("Suspended") }
end
if holds("QuotaExceeded") then
  return { status = "Healthy", message = text("QuotaExceeded") }
end
return { status = "Healthy", message = text("Ready") }
