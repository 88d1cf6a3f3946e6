from crewai.tools import BaseTool


class Nothing(BaseTool):
    name: str = "nothing"
