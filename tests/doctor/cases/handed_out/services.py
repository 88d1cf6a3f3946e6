"""Tools that another module hands to an agent."""

from db import ORDERS, PRICES


def place_order(name: str, customer: str) -> str:
    ORDERS[customer] = name  # finds F10
    return "placed"


def price(name: str) -> int:
    return PRICES[name]


def tidy(customer: str) -> None:
    ORDERS.pop(customer)
