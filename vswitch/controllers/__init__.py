"""Runs OpenFlow controllers written to Ryu's API, on os-ken or on Ryu itself.

The runner is in the package so that an installed switch has the command `vswitch-controller`; the apps are in the source
tree's controllers/, and next to this file (apps/) once installed, because people start from them.
"""
