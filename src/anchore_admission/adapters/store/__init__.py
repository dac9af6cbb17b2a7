"""The store that replicas share: Redis or Valkey, with sealed entries. Imported only if one is configured."""
