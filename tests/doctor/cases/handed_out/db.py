ORDERS: dict[str, str] = {}
PRICES = {"phone": 999}
