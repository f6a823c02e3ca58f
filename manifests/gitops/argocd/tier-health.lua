-- The health of a TenantTier.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "waiting for the controller to see the change" }
end
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    local message = (condition.reason or "") .. ": " .. (condition.message or "")
    if condition.status == "True" then
      return { status = "Healthy", message = message }
    end
    return { status = condition.status == "False" and "Degraded" or "Progressing", message = message }
  end
end
return { status = "Healthy", message = "" }
