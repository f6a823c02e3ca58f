-- The health of a DatabaseServer or an ObjectStore: whether it can be reached. What is open on it is said, and does not make it unhealthy.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the controller to see the change" }
end
local reachable, hardened
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Reachable" then
    reachable = condition
  elseif condition.type == "Hardened" then
    hardened = condition
  end
end
if reachable == nil or reachable.status == "Unknown" then
  return { status = "Progressing", message = "waiting for the controller to try the connection" }
end
if reachable.status == "False" then
  return { status = "Degraded", message = (reachable.reason or "") .. ": " .. (reachable.message or "") }
end
if hardened ~= nil and hardened.status == "False" then
  return { status = "Healthy", message = (hardened.reason or "") .. ": " .. (hardened.message or "") }
end
return { status = "Healthy", message = (reachable.reason or "") .. ": " .. (reachable.message or "") }
