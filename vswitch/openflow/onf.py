"""ONF's extensions to OpenFlow 1.3, of experimenter 0x4f4e4600: bundles (types 2300, 2301) and flow monitors (1870) as 1.4
has them."""
from __future__ import annotations

from typing import TYPE_CHECKING

from vswitch.openflow import bundles
from vswitch.openflow.codec import Frame
from vswitch.openflow.experimenter import handles
from vswitch.openflow.versions import OF13, ONF

if TYPE_CHECKING:
    from vswitch.openflow.session import Session


@handles(ONF, bundles.ONF_CONTROL, OF13, OF13)
async def bundle_control(session: Session, message: Frame, body: bytes) -> None:
    session.standing.check_change()
    await bundles.control_body(session, message, body)


@handles(ONF, bundles.ONF_ADD, OF13, OF13)
async def bundle_add(session: Session, message: Frame, body: bytes) -> None:
    session.standing.check_change()
    bundles.add_body(session, message, body)
