"""The configuration of a gateway: its tables, and how file, secrets directory and environment are layered."""

from toolway.config.loading import config_files, load_config
from toolway.config.tables import Config, EgressSettings, GatewaySettings, PluginTables

__all__ = ["Config", "EgressSettings", "GatewaySettings", "PluginTables", "config_files", "load_config"]
