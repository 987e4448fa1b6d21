"""TenantService (proto/vswitch/v1/tenant.proto)."""
from __future__ import annotations

from dataclasses import replace

from vswitch.model.switch import Switch
from vswitch.rpc.lookup import find_tenant
from vswitch.rpc.messages import present_fields, required, tenant_message, tenant_object
from vswitch.rpc.v1 import tenant_pb2, tenant_pb2_grpc


class TenantService(tenant_pb2_grpc.TenantServiceServicer):
    def __init__(self, switch: Switch):
        self.switch = switch

    async def AddTenant(self, request, context):
        return tenant_message(await self.switch.add_tenant(tenant_object(required(request, "tenant"))))

    async def SetTenant(self, request, context):
        tenant = find_tenant(self.switch, request.name)
        changes = present_fields(request, ("weight", "cpu_min", "cpu_max", "max_rules", "max_megaflows"))
        return tenant_message(await self.switch.change_tenant(replace(tenant, **changes)))

    async def DeleteTenant(self, request, context):
        find_tenant(self.switch, request.name)
        await self.switch.remove_tenant(request.name)
        return tenant_pb2.DeleteTenantResponse()

    async def GetTenant(self, request, context):
        return tenant_message(find_tenant(self.switch, request.name))

    async def ListTenants(self, request, context):
        tenants = sorted(self.switch.tenants(), key=lambda tenant: tenant.name)
        return tenant_pb2.ListTenantsResponse(tenants=map(tenant_message, tenants))
